# ruff: noqa: E501 - one line of a table is one kind of product
"""What the generated catalogue is made of: kinds of products, attributes, options, and the phrases of people.

All of it is invented; brands are nonsense syllables. The shape is the real catalogue's: five categories, a query under
which a product was found, a chain of ever narrower categories, attributes of two words that describe (easy clean), name
a part or material (stainless steel) or a use (living room), and options such as colour and size.
"""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of product: its category, the query that finds it, its chain of categories, nouns for titles and people,
    families of attributes (keys of ATTRIBUTES), options (keys of OPTIONS) and median price in dollars."""

    category: str
    query: str
    chain: str
    nouns: tuple[str, ...]
    families: tuple[str, ...]
    options: tuple[str, ...]
    price: float


def _kinds(category: str, root: str, table: str) -> list[Kind]:
    kinds = []
    for line in table.strip().splitlines():
        query, chain, nouns, families, options, price = (part.strip() for part in line.split("|"))
        full = " › ".join([root, *(level.strip() for level in chain.split(">"))])
        kinds.append(
            Kind(
                category,
                query,
                full,
                tuple(noun.strip() for noun in nouns.split(",")),
                tuple(families.split()),
                tuple(option.strip() for option in options.split(",") if option.strip()),
                float(price),
            )
        )
    return kinds


KINDS = [
    *_kinds("beauty", "Beauty & Personal Care", """
        Shampoo & Conditioner | Hair Care > Shampoo & Conditioner > Shampoos | shampoo, conditioner | care hair | volume, scent | 18
        Hair Extensions, Wigs & Accessories | Hair Care > Hair Extensions, Wigs & Accessories > Wigs | wig, hair extensions | hair look | color, length | 35
        Toothbrushes & Accessories | Oral Care > Toothbrushes & Accessories > Manual Toothbrushes | toothbrush, toothbrush set | oral tool | color, pack | 11
        Makeup Palettes | Makeup > Makeup Palettes | eyeshadow palette, makeup palette | makeup look | color | 16
        Lips Makeup | Makeup > Lips > Lipstick | lipstick, lip gloss | makeup care | color, pack | 12
        Bags & Cases | Tools & Accessories > Bags & Cases > Cosmetic Bags | cosmetic bag, toiletry bag | bag travel | color, size | 17
        Refillable Containers | Tools & Accessories > Refillable Containers > Bottles | travel bottle, spray bottle | bag travel | color, volume | 10
        Women's Fragrance | Fragrance > Women's > Eau de Parfum | perfume, body mist | scented care | volume, scent | 48
        Skin Care Sets & Kits | Skin Care > Face > Sets & Kits | face cream, serum | care skin | volume, pack | 26
        Nail Care | Foot, Hand & Nail Care > Tools & Accessories | nail file, nail polish set | tool makeup | color, pack | 9
    """),
    *_kinds("electronics", "Electronics", """
        Headphones | Headphones, Earbuds & Accessories > Headphones > Over-Ear Headphones | headphones, headset | audio power | color, style | 55
        Portable Bluetooth Speakers | Portable Audio & Video > Portable Speakers & Docks | bluetooth speaker, soundbar | audio power | color, style | 46
        Computer Tablets | Computers & Tablets > Tablets | tablet, android tablet | screen power | color, memory | 160
        Chargers | Accessories & Supplies > Batteries & Chargers > Wall Chargers | wall charger, charging station | power cable | color, plug | 19
        HDMI Cables | Accessories & Supplies > Cables > HDMI Cables | hdmi cable, display cable | cable | color, length, pack | 13
        Security Cameras | Security & Surveillance > Surveillance Cameras > Dome Cameras | security camera, dome camera | screen power | color, style | 72
        Phone Cases | Cell Phones & Accessories > Cases > Basic Cases | phone case, flip case | case | color, model | 14
        Smartwatch Bands | Wearable Technology > Smartwatch Accessories > Bands | watch band, smartwatch strap | case | color, size | 12
        Tripods | Camera & Photo > Tripods & Monopods > Complete Tripods | tripod, phone tripod | camera travel | color, size | 33
        Projectors | Television & Video > Video Projectors | projector, mini projector | screen power | color, plug | 120
    """),
    *_kinds("fashion", "Clothing, Shoes & Jewelry", """
        Women's Dresses | Women > Clothing > Dresses > Casual | dress, maxi dress | clothes women | color, size | 27
        Men's T-Shirts & Tanks | Men > Clothing > Shirts > T-Shirts | t-shirt, tank top | clothes men | color, size | 19
        Men's Jeans | Men > Clothing > Jeans | jeans, denim pants | clothes men | color, waist | 39
        Women's Sandals | Women > Shoes > Sandals > Slides | sandals, slides | shoes women | color, shoe size | 31
        Men's Fashion Sneakers | Men > Shoes > Fashion Sneakers | sneakers, walking shoes | shoes men | color, shoe size | 49
        Women's Sweaters | Women > Clothing > Sweaters > Pullovers | sweater, pullover | clothes women | color, size | 33
        Men's Suits & Sport Coats | Men > Clothing > Suits & Sport Coats > Sport Coats & Blazers | blazer, suit jacket | clothes men | color, size | 64
        Women's Leggings | Women > Clothing > Leggings | leggings, yoga pants | clothes women | color, size | 21
        Women's Boots | Women > Shoes > Boots > Ankle & Bootie | ankle boots, booties | shoes women | color, shoe size | 58
        Men's Swimwear | Men > Clothing > Swim > Trunks | swim trunks, board shorts | clothes men | color, size | 23
    """),
    *_kinds("garden", "Home & Kitchen", """
        Coffee Tables | Furniture > Living Room Furniture > Tables > Coffee Tables | coffee table, end table | furniture room | color, size | 129
        Bedspreads & Coverlets | Bedding > Quilts & Sets > Quilt Sets | quilt set, bedspread | textile room | color, bed size | 58
        Throw Pillow Covers | Bedding > Decorative Pillows > Pillow Covers | pillow cover, cushion cover | textile room | color, size, pack | 15
        Area Rugs | Home Décor Products > Area Rugs, Runners & Pads > Area Rugs | area rug, runner rug | textile room | color, shape, rug size | 82
        Window Treatments | Home Décor Products > Window Treatments > Curtains & Drapes > Panels | curtain panels, blackout curtains | textile room | color, panel size | 34
        Vanity Lights | Lighting & Ceiling Fans > Wall Lights > Vanity Lights | vanity light, wall sconce | lamp room | color, lights | 88
        Office Chairs | Furniture > Home Office Furniture > Home Office Chairs | office chair, desk chair | furniture room | color | 148
        Storage Racks | Storage & Organization > Racks, Shelves & Drawers > Shelves | shoe rack, storage shelf | furniture room | color, tiers | 45
        Candles | Home Décor Products > Candles & Holders > Candles | scented candle, jar candle | scented room | scent, pack | 20
        Beds | Furniture > Bedroom Furniture > Beds, Frames & Bases > Beds | bed frame, platform bed | furniture room | color, bed size | 240
    """),
    *_kinds("grocery", "Grocery & Gourmet Food", """
        Pantry Staples | Snacks & Sweets > Snack Foods > Crackers | crackers, rice crackers | food snack | flavor name, pack | 17
        Popcorn | Snacks & Sweets > Snack Foods > Popcorn > Popped | popcorn, kettle corn | food snack | flavor name, pack | 14
        Dried Fruits | Snacks & Sweets > Snack Foods > Dried Fruits & Raisins | dried mango, fruit snack | food snack | flavor name, weight | 19
        Coffee | Beverages > Coffee > Ground Coffee | ground coffee, coffee pods | food drink | flavor name, pack | 23
        Tea Samplers | Beverages > Tea > Herbal | herbal tea, green tea | food drink | flavor name, pack | 15
        Nut & Seed Bars | Breakfast Foods > Breakfast & Cereal Bars > Granola & Trail Mix Bars | granola bars, protein bars | food snack | flavor name, pack | 21
        Chocolate | Snacks & Sweets > Chocolate > Candy & Chocolate Assortments | dark chocolate, chocolate gift box | food gift | flavor name, weight | 25
        Sauces & Gravies | Pantry Staples > Sauces, Gravies & Marinades > Hot Sauce | hot sauce, barbecue sauce | food cook | flavor name, pack | 12
        Spices & Seasonings | Pantry Staples > Herbs, Spices & Seasonings > Mixed Spices | spice mix, seasoning | food cook | flavor name, weight | 11
        Meat Substitutes | Meat & Seafood > Meat Substitutes > Jerky | vegan jerky, plant based jerky | food snack | flavor name, pack | 28
    """),
]  # fmt: skip

# Family -> (what it is like, what it has or is made of, what it is for): the three places in an instruction.
ATTRIBUTES = {
    "care": ("sulfate free, paraben free, cruelty free, fragrance free, long lasting, clinically proven", "coconut oil, argan oil, aloe vera, essential oils, natural ingredients, hyaluronic acid", "sensitive skin, dry skin"),
    "hair": ("high quality, easy use", "natural hair, keratin protein", "damaged hair, dry hair, hair growth, hair loss, hair styling"),
    "look": ("long lasting, easy apply, heat resistant", "synthetic hair, rose gold", "beauty salon, daily makeup"),
    "oral": ("bpa free, easy clean", "bamboo charcoal, soft bristles", "bad breath, sensitive teeth, oral hygiene, fresh breath"),
    "tool": ("non slip, easy use, easy carry, high quality", "stainless steel, storage case", "nail art, dead skin"),
    "makeup": ("highly pigmented, easy apply, cruelty free, long lasting", "vitamin c, shea butter", "eye shadow, fine lines"),
    "bag": ("leak proof, water resistant, easy clean, non toxic", "pu leather, double zipper", "travel size, makeup brush"),
    "travel": ("easy carry, light weight, bpa free", "carrying case, aluminum alloy", "outdoor travel"),
    "scented": ("long lasting, alcohol free, lead free", "soy wax, essential oils", "gift giving, home fragrance"),
    "skin": ("oil free, anti aging, dermatologist tested", "green tea, hyaluronic acid", "dark circles, fine lines, sensitive skin"),
    "audio": ("noise cancelling, hands free, high performance", "wireless bluetooth, stereo sound, built microphone", "home theater"),
    "power": ("fast charging, long lasting, plug play, energy efficient", "usb port, lithium battery", "home office"),
    "screen": ("high definition, high resolution, easy use", "quad core, optical zoom, motion detection", "video recording"),
    "cable": ("gold plated, high speed, heavy duty", "braided nylon, type c", "blu ray"),
    "case": ("shock proof, easy install, water resistant, quick release", "tempered glass, silicone rubber, pu leather", "wireless charging"),
    "camera": ("quick release, easy use, heavy duty", "carbon fiber, ball head", "video recording, live streaming"),
    "clothes": ("machine washable, hand wash, slim fit, loose fit, quick drying", "long sleeve, short sleeve, elastic waist, drawstring closure, polyester spandex", "daily wear, gym workout"),
    "women": ("high waist, relaxed fit, wash cold", "tummy control, cotton blend", "teen girls, casual party"),
    "men": ("regular fit, classic fit, moisture wicking", "button closure, zipper closure", "casual work"),
    "shoes": ("slip resistant, arch support, anti slip", "rubber sole, memory foam, lace closure, faux leather, ethylene vinyl", "daily walking, outdoor hiking"),
    "furniture": ("easy assemble, heavy duty, space saving, mid century, scratch resistant", "solid wood, metal legs, steel frame, tempered glass, storage space", "small spaces"),
    "room": ("easy clean, eco friendly", "contemporary design, modern style", "living room, dining room, bed room"),
    "textile": ("machine washable, super soft, fade resistant, spot clean", "cotton linen, faux fur, double sided", "guest room"),
    "lamp": ("easy install, energy efficient, wall mounted", "brushed nickel, clear glass, glass shade", "vanity mirror"),
    "food": ("gluten free, non gmo, dairy free, sugar free, low calorie, keto friendly, ready eat", "artificial colors, natural flavors, dietary fiber", "birthday party"),
    "snack": ("individually wrapped, low sodium, plant based, high protein", "resealable bag, sea salt", "office snack"),
    "drink": ("caffeine free, usda organic, fair trade", "medium roast, loose leaf", "iced drinks"),
    "gift": ("hand crafted, certified kosher", "gift basket, milk chocolate", "valentine day, gift giving"),
    "cook": ("certified organic, small batch", "glass jar, smoked paprika", "family dinner"),
}  # fmt: skip

OPTIONS = {
    "color": "Black, White, Navy Blue, Sky Blue, Red, Wine Red, Army Green, Mint Green, Pink, Rose Gold, Light Grey, Dark Grey, Khaki, Purple, Champagne, Coffee, Multicolor, A-Black, B-Green, Style-03",
    "size": "X-Small, Small, Medium, Large, X-Large, XX-Large, 3X-Large",
    "shoe size": "6, 6.5, 7, 7.5, 8, 8.5, 9, 9.5, 10 Wide, 11, 12.5 Women/11 Men",
    "waist": "28W x 30L, 30W x 30L, 32W x 32L, 34W x 32L, 36W x 34L, 38W x 34L",
    "bed size": "Twin, Full, Queen, King, California King",
    "rug size": "2 ft 6 in x 10 ft, 4 ft x 6 ft, 5 ft x 8 ft, 8 ft x 10 ft, 9 ft x 12 ft",
    "panel size": "W42\" x L63\", W52\" x L84\", W52\" x L95\", W84\" x L84\"",
    "shape": "Square, Round, Oval, Octagonal, Runner",
    "length": "3 Feet, 6 Feet, 10 Feet, 15 Feet, 12 Inch, 18 Inch, 24 Inch",
    "pack": "1 Count (Pack of 1), Pack of 2, Pack of 4, Pack of 6, Pack of 12",
    "volume": "1.7 Fl Oz, 3.4 Fl Oz, 6.76 Fl Oz (Pack of 1), 8 Fl Oz, 13.5 Fl Oz",
    "weight": "4 Ounce, 8 Ounce (Pack of 1), 1 Pound, 2.5 Pound, 100g/3.5oz",
    "scent": "Lavender, Vanilla Bean, Ocean Breeze, Citrus & Sage, Unscented",
    "style": "Standard, With Case, Upgraded, 2-Pack, Wired",
    "memory": "2GB RAM | 32GB, 4GB RAM | 64GB, 6GB RAM | 128GB",
    "plug": "US Plug, EU Plug, UK Plug",
    "model": "iPhone 13 Pro Max, iPhone 12/12 Pro, Galaxy S22 Ultra, Pixel 6",
    "lights": "1-Light, 2-Light, 3-Light, 4-Light",
    "tiers": "2 Tier, 3 Tier, 4 Tier, 5 Tier",
    "flavor name": "Original, Sea Salt, Honey Cinnamon, Spicy Chili, Dark Cocoa, Coconut Passion Fruit, Jalapeño Cheddar, Crème Brûlée, Variety Pack",
}  # fmt: skip

SYLLABLES = "ka lo mi ra ve zu no ti sa fe ru bo di la ne po qui sha ul wen xi yor".split()
USES = ("Home", "Office", "Travel", "Party", "Outdoor", "Gift", "Daily Use", "Wedding", "Kitchen", "School")
AUDIENCE = ("Women", "Men", "Adults", "Kids", "Teens", "Family")
FILLERS = ("2022 New", "Upgraded Version", "Premium", "Set of 2", "Multi-Purpose", "Fashion", "Classic", "Deluxe")

BULLETS = (
    "{ATTRIBUTE} - this {noun} is {attribute}, so that you can rely on it every day ",
    "★Made for you: a {noun} with {attribute}, chosen with care for {use} ",
    "Perfect {use} companion: whether at home or away, the {noun} stays {attribute} ",
    "{ATTRIBUTE}: our {noun} was tested again and again; customers praise that it is {attribute} ",
    "What you get: 1 x {noun}, {attribute}, and our friendly customer service ",
)
GENERAL_BULLETS = (
    "Great gift idea for birthdays, Valentine's Day, Christmas or any other occasion ",
    "PLEASE NOTE: colors may differ slightly between screens; allow 1-3cm of measuring error ",
    "Package includes everything shown in the picture – see the size chart before you buy ",
    "Customer satisfaction is our top priority; write to us if anything is wrong ",
)
DESCRIPTIONS = (
    "{title}. Feature: {features}. Material and workmanship are of a kind that lasts.Note: please allow small errors "
    "by manual measurement.",
    "<b>Product description</b><br>Bring home the {noun} by {brand}: {features}. Fits every {use} &amp; more.",
    "{brand} has made {noun}s since 1998. This one is {features}. Size: see options. Package: 1 x {noun}",
    "★★ {title} ★★ {features}. Pour la maison, le café, el jardín: für jeden Tag.",
)

# People's instructions: {noun}, {like} what it is like, {has} what it has, {use} its use, {options} the options wanted.
OPENINGS = (
    "i'm looking for {noun}", "i need {noun}", "i am looking for {noun}", "i want {noun}", "find me {noun}",
    "i would like to buy {noun}", "show me {noun}", "can you find me {noun}", "looking for {noun}", "get me {noun}",
)  # fmt: skip
LIKE = (" that is {}", " which is {}", ", it should be {}", " that are {}")
HAS = (" with {}", " that has {}", " made with {}", ", and it needs {}")
FOR = (" for {}", " for my {}", " to use for {}")
PICK = (". pick {}.", ". also choose {}.", ", in {}.", ". i want {}", " and {}.", ". get the one in {}")
