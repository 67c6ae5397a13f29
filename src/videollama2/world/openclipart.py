"""Open Clip Art drawings (public domain) of the nouns, chosen by eye from the Debian package `openclipart-png`."""

OPENCLIPART: dict[str, str] = {
    "airplane": "shapes/airplane_nicu_buculei_01",
    "alarm clock": (
        "signs_and_symbols/clocks/alarm_clock_gerald_g._01 signs_and_symbols/clocks/alarm_clock_gerald_g._02 "
        "signs_and_symbols/clocks/alarm_clock_mike_powers_"
    ),
    "anchor": "transportation/anchor transportation/anchor_juliane_krug_01",
    "ant": "animals/bugs/ant",
    "apple": "food/fruit/apple",
    "axe": "tools/axe_peterm_",
    "banana": "food/fruit/banana",
    "baseball": "recreation/sports/baseball_anthony_liekens_01",
    "bat": "animals/bat_orlando_karam_",
    "battery": (
        "electronics/battery/battery_01 electronics/battery/battery_jean-victor_bali_01 "
        "electronics/battery/battery_snuatautisticido_01"
    ),
    "bear": "animals/mammals/bears/bear_peterm_01",
    "bee": "animals/bugs/bee animals/bugs/bee1_mimooh_01 animals/bugs/bee2_mimooh_01",
    "bicycle": "transportation/bicycle_philippe_colin_01 transportation/vehicles/bicycle_01",
    "bison": "animals/bison_leif_lodahl_01",
    "bomb": "tools/weapons/bomb_01",
    "book": "education/books/book_01 education/books/book_02",
    "boomerang": "recreation/toys/boomerang_01",
    "broom": "tools/broom_nicu_buculei_01",
    "burrito": "food/burrito_ganson",
    "bus": "transportation/bus1_jarno_vasamaa_01 transportation/bus2_jarno_vasamaa_01",
    "butterfly": "animals/bugs/butterfly_jonathan_dietr_01 animals/bugs/butterfly_jonvdveen_01",
    "cake": "food/desserts/cake1_jarno_vasamaa_01 food/desserts/cake_etienne_bersac_r",
    "camera": "electronics/camera_michael_tunniclif_01",
    "candy": (
        "food/desserts/candy_01 food/desserts/candy_02 food/desserts/candy_10 food/desserts/candy_20 "
        "food/desserts/candy_21 food/desserts/candy_22 food/desserts/candy_30 food/desserts/candy_31"
    ),
    "car": "transportation/car_jamin_ellis_ transportation/vehicles/car",
    "cardboard box": "containers/cardboard_box_jarno_vasa_",
    "caterpillar": "animals/bugs/caterpillar_david_wislon_01",
    "christmas tree": (
        "plants/trees/christmas_tree_mo_01 plants/trees/evergreen/christmas_tree_01 "
        "plants/trees/evergreen/christmas_tree_02"
    ),
    "clipboard": "computer/clipboard_01",
    "clock": "signs_and_symbols/clocks/clock01 signs_and_symbols/clocks/clock_michael_breuer_01",
    "cloud": "signs_and_symbols/weather/cloud",
    "cocktail": "food/beverages/alcohol/cocktail_daniel_steele_r",
    "computer mouse": "computer/hardware/mouse computer/hardware/mouse2 signs_and_symbols/mouse1",
    "corn cob": "food/vegetables/corn_cob",
    "crayon": "education/crayon",
    "croissant": "food/breads_and_carbs/croissant_01 food/breads_and_carbs/croissant_gerald_g._01",
    "daisy": "plants/flowers/daisy_jonathan_dietrich_01",
    "dartboard": "recreation/dartboard_ruud_steltenpo_01",
    "deer": "animals/mammals/deer_matt_todd_01",
    "diamond": "signs_and_symbols/money/diamond_juliane_krug_01",
    "dice": "recreation/dice",
    "dolphin": "animals/fish/dolphin animals/fish/dolphin_enrique_meza_c_01 animals/fish/dolphin_enrique_meza_c_02",
    "eagle": "animals/birds/eagle_01",
    "elephant": "animals/mammals/elephant_01",
    "envelope": "office/envelope_01 office/envelope_juliane_krug_01",
    "factory": "buildings/factory_gabrielle_nowick_",
    "feather": "office/feather",
    "fire": "recreation/party/fire_valessio_soares_de_",
    "fire engine": "people/fire_engine_mimooh_01",
    "floppy disk": "computer/floppy_disk_architetto_f_01",
    "flute": "recreation/music/flute_ganson",
    "fly": "animals/bugs/fly_01",
    "fried egg": "food/meats_and_eggs/fried_egg",
    "gift": (
        "recreation/holiday/gift01 recreation/holiday/gift02 recreation/holiday/gift03 recreation/holiday/gift04 "
        "recreation/holiday/gift05"
    ),
    "globe": "geography/globe_marcelo_staudt_",
    "goat": "animals/mammals/goat_nicu_buculei_01",
    "guitar": (
        "recreation/music/guitar_ganson recreation/music/guitar_jarno_vasamaa1 recreation/music/guitar_jarno_vasamaa2"
    ),
    "hamburger": "food/meats_and_eggs/hamburger_ganson",
    "hammer": "tools/hammer_nicu_buculei_01",
    "horse": "animals/mammals/horses/horse_1_konstantin_r._01 animals/mammals/horses/horse_2_konstantin_r._01",
    "hot dog": "food/meats_and_eggs/hot_dog food/meats_and_eggs/hot_dog_juliane_krug_r",
    "house": (
        "buildings/homes/house buildings/homes/house_christoph_brill_01 buildings/homes/house_gabrielle_nowicki_ "
        "buildings/homes/house_juliane_krug_01"
    ),
    "ice cube": "food/beverages/ice_cube_jarno_vasamaa_",
    "keyboard": "computer/hardware/keyboard computer/hardware/keyboard_01",
    "knife": "tools/weapons/knife",
    "ladybug": "animals/bugs/ladybug_01 animals/bugs/ladybug_02",
    "laptop": "computer/hardware/laptop",
    "lemon": "food/fruit/lemon food/fruit/lemon1 food/fruit/lemon_simple",
    "lollipop": "food/desserts/lollipop_dave_pena_01 food/desserts/lollipop_dave_pena_02",
    "magnifying glass": "office/magnifying_glass_01",
    "mailbox": "office/mailbox1 office/mailbox2 office/mailbox3",
    "megaphone": "office/megaphone_nicu_buculei_01",
    "melon": "food/fruit/melon_goneri_le_bouder_01",
    "mobile phone": "office/telephone/mobile_phone_01",
    "moon": "geography/moon_charles_mccolm_01 signs_and_symbols/weather/moon01 signs_and_symbols/weather/moon02",
    "motorcycle": "transportation/motorcycle_jarno_vasama_",
    "mushroom": "plants/mushroom plants/mushroom_benji_park_",
    "newspaper": "education/books/newspaper_nicu_buculei_01",
    "onion": "food/vegetables/onion_joerg_rosenbauer_01",
    "open book": "education/books/open_book_01 education/books/open_book_nae_02",
    "orange": "food/fruit/orange food/fruit/orange_dave_pena_01 food/fruit/orange_simple",
    "padlock": "signs_and_symbols/padlock_aj_ashton_01",
    "pancake": "food/breads_and_carbs/pancake",
    "paperclip": "education/paperclip",
    "peach": "food/fruit/peach_simple",
    "pear": (
        "food/fruit/pear food/fruit/pear_01 food/fruit/pear_02 food/fruit/pear_jean-victor_balin_01r "
        "food/fruit/pear_simple"
    ),
    "pen": "education/pen_01 signs_and_symbols/pen1",
    "pencil": "education/pencil_benji_park_01",
    "picture frame": "office/picture_frame_jakob_chao_",
    "pig": "animals/mammals/pig_marcelo_caiafa1",
    "pineapple": "food/fruit/pineapple",
    "planet": "geography/planet_costea_bogdan_r",
    "potato": "food/breads_and_carbs/potato_nicu_buculei_ food/breads_and_carbs/potato_nicu_buculei_01",
    "pretzel": "food/breads_and_carbs/pretzel_01",
    "printer": (
        "computer/hardware/printer computer/hardware/printer_anton_yu_01 computer/hardware/printer_nicu_buculei_01 "
        "office/printer1"
    ),
    "pumpkin": "food/pumpkin2_yemu_01 food/pumpkin_erik_postma_01",
    "raccoon": "animals/mammals/raccoon_ganson",
    "rhinoceros": "animals/mammals/rhinoceros_architetto_fr_01",
    "rocket": "transportation/vehicles/rocket",
    "rose": "unsorted/rose",
    "safety pin": "people/safety_pin_timothy_whit_r",
    "sailboat": "transportation/boating/sailboat_illustration",
    "saw": "tools/saw_peterm_",
    "saxophone": "recreation/music/saxophone_jarno_vasamaa_",
    "screwdriver": "tools/screwdriver_peterm_",
    "seal": "animals/seal_sek_",
    "shield": "shapes/shield_matt_todd_01 shapes/shield_matt_todd_02",
    "snowman": "recreation/holiday/snowman_01",
    "soccer ball": "recreation/sports/soccer_ball_ganson",
    "spider": "animals/bugs/spider",
    "star": "shapes/stars/star",
    "strawberry": (
        "food/fruit/strawberry food/fruit/strawberry_01 food/fruit/strawberry_jonathan_diet_01 "
        "food/fruit/strawberry_simple"
    ),
    "sun": "signs_and_symbols/weather/sun01",
    "sword": "tools/weapons/sword_01",
    "teapot": "food/beverages/teapot_ganson",
    "telescope": "tools/telescope_01",
    "television": "buildings/furniture/television_peterm_ electronics/television_alexander_d.__01",
    "tennis racket": "recreation/sports/tennis_racket_01",
    "tiger": "animals/mammals/big_cats/tiger_graig_ryan_smith_-_01",
    "traffic light": "signs_and_symbols/traffic_light_dan_gerhar_01",
    "tree": "food/fruit/tree_whit_fruits_01 plants/trees/evergreen/tree plants/trees/evergreen/tree_02",
    "trophy": "signs_and_symbols/awards/trophy",
    "truck": "transportation/truck_jarno_vasamaa1 transportation/truck_jarno_vasamaa_",
    "turtle": "animals/turtle_jurgen_gaeremyn_01",
    "umbrella": "tools/umbrella",
    "violin": "recreation/music/violin_colour_ganson recreation/music/violin_ganson recreation/music/violin_mo_01",
    "watermelon": "food/fruit/watermelon_simple",
    "wrench": "tools/wrench_jarno_vasamaa_01",
}
"""Noun -> files below `usr/share/openclipart/png`, without their ending."""
